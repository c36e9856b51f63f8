// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.nn.Block;
import dev.merapi.tensor.Scope;
import dev.merapi.train.Checkpoints;
import java.io.IOException;
import java.util.Optional;

/** Says of each test whether it is the best so far, and when a model learns by heart what it sees, and nothing else any more. */
final class BestSoFar {
    private static final int PATIENCE = 3;

    private double best = Double.POSITIVE_INFINITY;
    private long at;
    private int since;

    /** Goes on with what a run had before. */
    static BestSoFar of(Checkpoints checkpoints, String metric) throws IOException {
        BestSoFar found = new BestSoFar();
        Optional<Checkpoints.Saved> saved = checkpoints.best();
        if (saved.isPresent()) {
            found.judge(saved.get().step(), saved.get().metrics().getOrDefault(metric, Double.POSITIVE_INFINITY));
        }
        return found;
    }

    /** What is to be added to the loss of a test. */
    String judge(long step, double loss) {
        if (loss < best) {
            best = loss;
            at = step;
            since = 0;
            return "";
        }
        since++;
        return since < PATIENCE
                ? ""
                : "  (overfits: " + since + " tests in a row no better than step " + at + ", whose weights are kept)";
    }

    /** Brings a model to the weights of its best test, if there was one. */
    static void load(Checkpoints checkpoints, Block model) throws IOException {
        Optional<Checkpoints.Saved> saved = checkpoints.best();
        if (saved.isPresent()) {
            try (Scope scope = Scope.open()) {
                model.loadStateDict(saved.get().part("model"));
            }
        }
    }
}
