// SPDX-License-Identifier: Apache-2.0

/** JMH benchmarks. */
module dev.merapi.benchmarks {
    requires java.management;
    requires static org.jspecify;
    requires dev.merapi.core;
    requires dev.merapi.cpu;
    requires dev.merapi.cuda;
    requires jmh.core;
    requires org.bytedeco.javacpp;
    requires org.bytedeco.openblas;
}
