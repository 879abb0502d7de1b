//! Benchmarks of the messenger libraries; see the files beside this one and the README.
