"""Faces in pictures to embeddings, for cameras and for enrolment.

torch, dlib and OpenCV come with the `camera` extra and are imported when first used, only here.
"""
