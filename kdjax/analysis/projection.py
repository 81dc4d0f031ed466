"""Features of teacher and student in two dimensions: PCA and t-SNE."""

import numpy as np
from jaxtyping import Float

from kdjax.analysis._subject import STUDENT, NotApplicableError, Subject

# Neighbours that are compared, and the perplexity of t-SNE, at most.
NEIGHBOURS, PERPLEXITY = 10, 30


def pca(
  features: Float[np.ndarray, "N D"],
) -> tuple[Float[np.ndarray, "N 2"], Float[np.ndarray, "2"]]:
  """The first two principal components, and their shares of the variance."""
  centred = np.asarray(features, np.float64)
  centred = centred - centred.mean(0)
  left, scale, _ = np.linalg.svd(centred, full_matrices=False)
  share = scale**2 / max(np.sum(scale**2), 1e-300)
  pad = max(0, 2 - len(scale))
  places = np.pad((left * scale)[:, :2], [(0, 0), (0, pad)])
  return places, np.pad(share[:2], (0, pad))


def tsne(features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N 2"]:
  """t-SNE of scikit-learn from PCA's places, the same in every call.

  Van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 2008.
  """
  import threadpoolctl
  from sklearn.manifold import TSNE

  perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
  model = TSNE(init="pca", random_state=0, perplexity=perplexity)
  # Threads wait for each other actively: of 200 examples, it takes 2.5 minutes
  # instead of 6 seconds beside other processes on two cores.
  with threadpoolctl.threadpool_limits(1):
    return model.fit_transform(np.asarray(features, np.float64))


def shared_neighbours(
  left: Float[np.ndarray, "N D"], right: Float[np.ndarray, "N E"], k: int
) -> float:
  """The mean share of the k nearest neighbours that two feature spaces share.

  By Euclidean distance, the example itself aside. k / (N - 1) is chance. Huh et
  al., "The Platonic Representation Hypothesis", ICML 2024, arXiv:2405.07987,
  Section 2.
  """
  near = []
  for features in (left, right):
    x = np.asarray(features, np.float64)
    square = np.sum(x**2, 1)
    distance = square[:, None] + square[None] - 2 * x @ x.T
    np.fill_diagonal(distance, np.inf)
    chosen = np.zeros(distance.shape, bool)
    np.put_along_axis(
      chosen, np.argpartition(distance, k - 1, axis=1)[:, :k], True, axis=1
    )
    near.append(chosen)
  return float(np.mean(np.sum(near[0] & near[1], axis=1) / k))


def projection(subject: Subject) -> dict[str, np.ndarray]:
  """The `embedding` of the student and its first teacher in two dimensions.

  Returns:
    networks: their names. label: int [N], -1 where unknown. classes: names. For
    each network: <network>/pca: f64 [N 2], <network>/share: f64 [2], shares of
    the variance, <network>/tsne: f32 [N 2].
    shared: f64 [], see `shared_neighbours`; chance: its value by chance; both
    NaN without a teacher.

  Raises:
    NotApplicableError: a network has no embedding [B D].
  """
  networks = subject.networks[:2]
  for name in networks:
    shape = subject.shapes(name).get("embedding")
    if shape is None or shape.ndim != 2:
      raise NotApplicableError(
        f"'{name}' of '{subject.name}' has no embedding of one vector an"
        " example."
      )

  def read(flow, viewed):
    del viewed
    return {
      name: subject.run(flow, name)["embedding"].astype("float32")
      for name in networks
    }

  found = subject.collect(read)
  count = len(found[STUDENT])
  result = {
    "networks": np.array(networks),
    "label": found.get("label", np.full(count, -1)),
    "classes": np.array([*map(str, subject.classes)], dtype=str),
    "shared": np.array(np.nan),
    "chance": np.array(np.nan),
  }
  for name in networks:
    places, share = pca(found[name])
    result |= {f"{name}/pca": places, f"{name}/share": share}
    result[f"{name}/tsne"] = tsne(found[name])
  if len(networks) > 1:
    k = min(NEIGHBOURS, count - 1)
    shared = shared_neighbours(*(found[name] for name in networks), k)
    result["shared"] = np.array(shared)
    result["chance"] = np.array(k / (count - 1))
  return result


def summary(found: dict[str, np.ndarray]) -> str:
  """How much of the variance the components have, and shared neighbours."""
  parts = [
    f"two components have {100 * found[f'{name}/share'].sum():.0f} % of the"
    f" variance of {name}"
    for name in found["networks"]
  ]
  text = "; ".join(parts).capitalize()
  if np.isfinite(found["shared"]):
    text += (
      f"; they share {100 * found['shared']:.0f} % of the nearest neighbours,"
      f" by chance {100 * found['chance']:.0f} %"
    )
  return f"{text}."
