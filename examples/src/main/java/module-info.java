// SPDX-License-Identifier: Apache-2.0

/** Training workloads, each a small readable main. */
module dev.merapi.examples {
    requires static org.jspecify;
    requires dev.merapi.core;
    requires dev.merapi.cpu;
    requires dev.merapi.cuda;
    requires com.google.gson;
    requires info.picocli;
    requires java.desktop;
    requires me.tongfei.progressbar;
    requires xchart;

    opens dev.merapi.examples to
            info.picocli;
}
