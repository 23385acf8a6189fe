"""The Dataflow Flex Template of `maskmill generate`: what its launcher runs, and the parameters that it takes."""
