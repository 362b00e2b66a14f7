"""Leaf variants, by role. A method picks them in its rules; a variant knows no method."""

from ratebp.rules.adaptive import StepTLIF
from ratebp.rules.neuron import (
    DetachedLIF,
    RecordNeuronScan,
    RecordNeuronStep,
    ReplayNeuron,
    ScanLIF,
    StepLIF,
)
from ratebp.rules.norm import RecordNormLastStep, RecordNormScan, RecordNormStep, ReplayNorm
from ratebp.rules.record import RateRecord
from ratebp.rules.synapse import (
    RecordSynapseScan,
    RecordSynapseStep,
    ReplaySynapse,
    Trace,
    TracedSynapse,
)
from ratebp.rules.traces import PLACEMENTS, ottt_rules
from ratebp.rules.twins import rate_views

__all__ = [
    "PLACEMENTS",
    "DetachedLIF",
    "RateRecord",
    "RecordNeuronScan",
    "RecordNeuronStep",
    "RecordNormLastStep",
    "RecordNormScan",
    "RecordNormStep",
    "RecordSynapseScan",
    "RecordSynapseStep",
    "ReplayNeuron",
    "ReplayNorm",
    "ReplaySynapse",
    "ScanLIF",
    "StepLIF",
    "StepTLIF",
    "Trace",
    "TracedSynapse",
    "ottt_rules",
    "rate_views",
]
