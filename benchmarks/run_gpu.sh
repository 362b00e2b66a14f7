#!/usr/bin/env bash
# Runs the GPU tests and the GPU sweep, and copies the tidy results to results/published/.
# Needs a CUDA device and the package installed (python -m pip install -c constraints.txt -e '.[test]').
set -euo pipefail
cd "$(dirname "$0")/.."
python -m pytest -m gpu
python -m harness.cli run benchmarks/sweeps/cifar_gpu.toml --device cuda "$@"
target="results/published/cifar_gpu-$(date -u +%Y-%m-%d)"
mkdir -p "$target"
cp -r results/runs/cifar_gpu/environments results/runs/cifar_gpu/*.csv results/runs/cifar_gpu/report.html "$target/"
echo "published: $target"
