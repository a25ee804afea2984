"""Who computes what of a model: a line a human can read, and all that follows from it.

placement (the line) ─▶ split (who sends what to whom) ─▶ headers, parcel (the tensors sent)
"""
