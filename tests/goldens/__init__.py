"""Adapters: from a case of the golden folder to a call of kdjax.

A file a family. Every public function is called like the `method` of cases and
gives their outputs by name, as JAX arrays that can be differentiated with
respect to the inputs:

  def kd(case: Case) -> dict[str, Array]

It goes by the case's hyperparameters and the names of its inputs, never by its
id, so that cases that nobody has seen yet run too.
"""
