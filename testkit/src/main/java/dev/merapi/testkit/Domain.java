// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import java.util.SplittableRandom;

/** Where sample values are drawn from. */
@FunctionalInterface
public interface Domain {
    double draw(SplittableRandom random);

    static Domain uniform(double low, double high) {
        return random -> random.nextDouble(low, high);
    }

    /** Not within 0.05 of a kink, where finite differences would see both sides. */
    default Domain awayFrom(double... kinks) {
        return random -> {
            while (true) {
                double x = draw(random);
                boolean clear = true;
                for (double kink : kinks) {
                    clear &= Math.abs(x - kink) > 0.05;
                }
                if (clear) {
                    return x;
                }
            }
        };
    }
}
