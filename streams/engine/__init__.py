"""Micro-batches on Faust: the only room that touches Faust's internals, aiokafka and rocksdict."""
