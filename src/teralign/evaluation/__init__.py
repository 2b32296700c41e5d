"""Scores of an alignment, for volumes of any size: labels, images, points and fields."""

from teralign.evaluation.fields import FieldScores, score_field
from teralign.evaluation.images import ImageScores, score_images
from teralign.evaluation.labels import LabelScore, LabelScores, LabelVolumes, score_labels
from teralign.evaluation.landmarks import LandmarkErrors, errors_at, landmark_errors, landmark_pairs
from teralign.evaluation.on_grid import OnGrid, Still, Warped, check_same_grid
from teralign.evaluation.on_workers import OnWorkers
from teralign.evaluation.similarity import BLOCK_SIDE, MeasuredSimilarity, Similarity, measure_similarity, similarity
from teralign.evaluation.streaming import BLOCK, OnThreads, OverBlocks
from teralign.evaluation.volume_change import VolumeChange, VolumeChangeSummary

__all__ = [
    "BLOCK",
    "BLOCK_SIDE",
    "FieldScores",
    "ImageScores",
    "LabelScore",
    "LabelScores",
    "LabelVolumes",
    "LandmarkErrors",
    "MeasuredSimilarity",
    "OnGrid",
    "OnThreads",
    "OnWorkers",
    "OverBlocks",
    "Similarity",
    "Still",
    "VolumeChange",
    "VolumeChangeSummary",
    "Warped",
    "check_same_grid",
    "errors_at",
    "landmark_errors",
    "landmark_pairs",
    "measure_similarity",
    "score_field",
    "score_images",
    "score_labels",
    "similarity",
]
