// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** All rows, and the ops that have none with the reason: together they are all of {@code merapi::}. */
public final class OpRows {
    private OpRows() {}

    public static List<OpSamples<?, ?>> all() {
        List<OpSamples<?, ?>> rows = new ArrayList<>();
        rows.addAll(PointwiseRows.all());
        rows.addAll(ReductionRows.all());
        rows.addAll(MovementRows.all());
        rows.addAll(NeuralRows.all());
        return rows;
    }

    /** Op name to the reason why it needs no row. */
    public static Map<String, String> without() {
        return new TreeMap<>(Map.of());
    }
}
