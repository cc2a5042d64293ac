"""Operations: changes to a host, each naming the state it brings about."""
