"""A model on its way to a Graph: a list of steps that may still be changed.

    torch module ──edgeflow.exporter──┐
                                      ├──▶ Builder.steps ──passes──▶ steps ──finish──▶ Graph
    ONNX file ─────edgeflow.importer──┘

Invariant: nothing here knows where a model comes from, so the same network becomes the same layers
by either way.
"""
