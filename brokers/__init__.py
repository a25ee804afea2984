"""The broker programs: mosquitto where it is on PATH, else the embedded one."""
