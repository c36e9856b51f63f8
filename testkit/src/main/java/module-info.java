// SPDX-License-Identifier: Apache-2.0
/** Op samples, oracles, tolerances, and the contract tests that each backend extends. */
module dev.merapi.testkit {
    requires static org.jspecify;
    requires static java.desktop; // its tests look at images
    requires static jdk.jfr; // and at recordings
    requires java.management;
    requires transitive dev.merapi.core;
    requires transitive org.junit.jupiter.api;
    requires transitive org.junit.jupiter.params;
    requires transitive org.assertj.core;
    requires transitive com.tngtech.archunit;

    exports dev.merapi.testkit;
    exports dev.merapi.testkit.fuzz;
}
