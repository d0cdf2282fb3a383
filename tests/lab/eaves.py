"""Eaves in the lab."""
from cluster import Cluster


class Eaves(Cluster):
    name = "eaves"
    has_redis = True
