// SPDX-License-Identifier: Apache-2.0
package dev.merapi.profile;

import org.jspecify.annotations.Nullable;

/** An event of the JDK's Flight Recorder, where that is there (a runtime image may lack it) and records. */
interface WorkEvent {
    /** Starts the clock; null if nobody records. */
    static @Nullable WorkEvent begin() {
        return FlightRecorder.IS_THERE ? FlightEvent.start() : null;
    }

    void commit(Kind kind, String name, @Nullable String layer, long bytes);

    /** Looked for once. */
    final class FlightRecorder {
        static final boolean IS_THERE = ModuleLayer.boot().findModule("jdk.jfr").isPresent()
                && (!WorkEvent.class.getModule().isNamed()
                        || WorkEvent.class
                                .getModule()
                                .canRead(
                                        ModuleLayer.boot().findModule("jdk.jfr").get()));

        private FlightRecorder() {}
    }
}
