"""Measurements that users can run themselves: `rhea bench …`."""
