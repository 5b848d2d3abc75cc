"""The operations, one theorem a file: derivation, public function, forward, jvp and vjp."""
