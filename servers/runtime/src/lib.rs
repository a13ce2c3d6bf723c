//! What every Culver server needs: the storage pool, limits, listeners, users
