"""Leaf variants, by role. A method picks them in its rules; a variant knows no method."""

from ratebp.rules.handover import Handover
from ratebp.rules.neurons.lif import DetachedLIF, ScanLIF, StepLIF
from ratebp.rules.neurons.others import StepTLIF
from ratebp.rules.rate.neurons import RecordNeuronScan, RecordNeuronStep, ReplayNeuron
from ratebp.rules.rate.norms import RecordNormLastStep, RecordNormScan, RecordNormStep, ReplayNorm
from ratebp.rules.rate.synapses import RecordSynapseScan, RecordSynapseStep, ReplaySynapse
from ratebp.rules.rate.views import rate_views
from ratebp.rules.synapses import PLACEMENTS, Trace, TracedSynapse, ottt_rules

__all__ = [
    "PLACEMENTS",
    "DetachedLIF",
    "Handover",
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
