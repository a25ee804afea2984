"""The shell: sockets, disk, clock. It turns bytes into events and carries out effects."""
