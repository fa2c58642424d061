"""The rows below the privacy line: what FROM, JOIN, WHERE and sub-queries make of the private tables.

Every construct that is read here keeps rows of different units apart: what it gives for one unit follows from that
unit's rows and public tables alone. So taking a unit away takes its rows away and changes no others, and bounding what
one unit contributes (privacy/bounding.py) bounds the sensitivity, whatever stands below.
"""
