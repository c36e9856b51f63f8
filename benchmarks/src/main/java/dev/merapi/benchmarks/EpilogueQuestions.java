// SPDX-License-Identifier: Apache-2.0
package dev.merapi.benchmarks;

import dev.merapi.cuda.report.EpilogueCost;
import dev.merapi.cuda.runtime.Epilogues;
import dev.merapi.cuda.runtime.Epilogues.Epilogue;
import java.util.Locale;
import java.util.Set;

/**
 * Each of cuBLASLt's epilogues against its composition, at the four linear maps of a GPT's block:
 * {@code epilogue_bias_768_2304} and {@code epilogue_bias_768_2304_apart}, from 768 features to 2304. What
 * {@code merapi.cuda.epilogues} should be follows from them.
 */
final class EpilogueQuestions {
    /** Times a part of a step, as the switches are now. */
    interface Clock {
        double seconds(Epilogue asked, long rows, long in, long out);
    }

    interface Sink {
        void ask(String key, String unit, DeviceReport.Question question);
    }

    private final DeviceSizes.GptSizes gpt;
    private final Clock clock;

    EpilogueQuestions(DeviceSizes.GptSizes gpt, Clock clock) {
        this.gpt = gpt;
        this.clock = clock;
    }

    void ask(Sink sink) {
        long w = gpt.width();
        for (Epilogue asked : Epilogue.values()) {
            for (long[] shape : new long[][] {{w, 3 * w}, {w, w}, {w, 4 * w}, {4 * w, w}}) {
                String key = "epilogue_" + asked.name().toLowerCase(Locale.ROOT) + "_" + shape[0] + "_" + shape[1];
                sink.ask(key, "µs", () -> microseconds(asked, shape, EpilogueCost.used(asked)));
                sink.ask(key + "_apart", "µs", () -> microseconds(asked, shape, EpilogueCost.apart(asked)));
            }
        }
    }

    private double microseconds(Epilogue asked, long[] shape, Set<Epilogue> used) {
        Set<Epilogue> before = Epilogues.use(used);
        try {
            return 1e6 * clock.seconds(asked, gpt.batch() * gpt.context(), shape[0], shape[1]);
        } finally {
            Epilogues.use(before);
        }
    }
}
