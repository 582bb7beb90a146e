"""Taking part without a network: the same messages as files, carried by people or a data diode."""
