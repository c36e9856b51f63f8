// SPDX-License-Identifier: Apache-2.0
package dev.merapi.profile;

import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;
import org.jspecify.annotations.Nullable;

/** One op, kernel, node, layer, range or wait. */
@Name("dev.merapi.Work")
@Label("Tensor work")
@Category("Merapi")
@StackTrace(false)
final class FlightEvent extends Event implements WorkEvent {
    @Label("Kind")
    String kind = "";

    @Label("Name")
    String name = "";

    @Label("Layer")
    @Nullable
    String layer;

    @Label("Memory made")
    @DataAmount
    long bytes;

    /** Null if no recording wants it. */
    static @Nullable FlightEvent start() {
        FlightEvent event = new FlightEvent();
        if (!event.isEnabled()) {
            return null;
        }
        event.begin();
        return event;
    }

    @Override
    public void commit(Kind what, String called, @Nullable String in, long made) {
        end();
        if (shouldCommit()) {
            kind = what.name().toLowerCase(java.util.Locale.ROOT);
            name = called;
            layer = in;
            bytes = made;
            commit();
        }
    }
}
