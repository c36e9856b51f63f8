// SPDX-License-Identifier: Apache-2.0
package dev.merapi.optim;

import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * A step along a direction that fulfils the strong Wolfe conditions: the loss falls enough, and the slope has become flat
 * enough. A bracket is looked for, then made smaller by cubic interpolation; as PyTorch's {@code strong_wolfe}, which is
 * minFunc's.
 *
 * @see <a href="https://www.cs.ubc.ca/~schmidtm/Software/minFunc.html">Schmidt, minFunc, 2005</a>
 */
final class LineSearch {
    private static final double FALL = 1e-4;
    private static final double FLAT = 0.9;

    /** A step and what is there. */
    record Point(double t, double loss, Tensor gradient, double slope) {}

    interface Function {
        /** The loss after a step of length t, its gradient, and the slope along the direction. */
        Point at(double t);
    }

    private final Function function;
    private final double loss;
    private final double slope;
    private final int most;
    private final List<Point> seen = new ArrayList<>();

    /** @param most how many iterations there may be */
    LineSearch(Function function, double loss, double slope, int most) {
        this.function = function;
        this.loss = loss;
        this.slope = slope;
        this.most = most;
    }

    /** All points that were looked at. */
    List<Point> seen() {
        return seen;
    }

    private Point look(double t) {
        Point p = function.at(t);
        seen.add(p);
        return p;
    }

    private boolean isTooHigh(Point p) {
        return p.loss > loss + FALL * p.t * slope;
    }

    private boolean isFlat(Point p) {
        return Math.abs(p.slope) <= -FLAT * slope;
    }

    /**
     * The best point found.
     *
     * @param length of the first step
     * @param size the largest element of the direction, whatever its sign
     * @param gradient where the search begins
     */
    Point run(double length, double size, Tensor gradient, double toleranceChange) {
        Point before = new Point(0, loss, gradient, slope);
        Point now = look(length);
        int iteration = 0;
        Point[] bracket = null;
        boolean done = false;
        while (iteration < most) {
            if (isTooHigh(now) || iteration > 1 && now.loss >= before.loss) {
                bracket = new Point[] {before, now};
                break;
            }
            if (isFlat(now)) {
                bracket = new Point[] {now};
                done = true;
                break;
            }
            if (now.slope >= 0) {
                bracket = new Point[] {before, now};
                break;
            }
            double least = now.t + 0.01 * (now.t - before.t);
            double t = cubic(before, now, least, now.t * 10);
            before = now;
            now = look(t);
            iteration++;
        }
        if (bracket == null) {
            bracket = new Point[] {new Point(0, loss, gradient, slope), now};
        }
        return done ? bracket[0] : zoom(bracket, iteration, size, toleranceChange);
    }

    private Point zoom(Point[] bracket, int begun, double size, double toleranceChange) {
        int low = bracket[0].loss <= bracket[1].loss ? 0 : 1;
        boolean stuck = false;
        for (int iteration = begun; iteration < most; iteration++) {
            double left = Math.min(bracket[0].t, bracket[1].t);
            double right = Math.max(bracket[0].t, bracket[1].t);
            if ((right - left) * size < toleranceChange) {
                break;
            }
            double t = cubic(bracket[0], bracket[1], left, right);
            // Near an end the second time, or at it: a tenth of the bracket away from it.
            double margin = 0.1 * (right - left);
            if (Math.min(right - t, t - left) < margin) {
                if (stuck || t >= right || t <= left) {
                    t = Math.abs(t - right) < Math.abs(t - left) ? right - margin : left + margin;
                    stuck = false;
                } else {
                    stuck = true;
                }
            } else {
                stuck = false;
            }
            Point now = look(t);
            int high = 1 - low;
            if (isTooHigh(now) || now.loss >= bracket[low].loss) {
                bracket[high] = now;
                low = bracket[0].loss <= bracket[1].loss ? 0 : 1;
            } else {
                boolean found = isFlat(now);
                if (!found && now.slope * (bracket[high].t - bracket[low].t) >= 0) {
                    bracket[high] = bracket[low];
                }
                bracket[low] = now;
                if (found) {
                    break;
                }
            }
        }
        return bracket[low];
    }

    /** Where the cubic through both points, with their slopes, is least between two bounds. */
    private static double cubic(Point a, Point b, double low, double high) {
        double d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t);
        double square = d1 * d1 - a.slope * b.slope;
        if (!(square >= 0)) {
            return (low + high) / 2;
        }
        double d2 = Math.sqrt(square);
        double t = a.t <= b.t
                ? b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
                : a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2));
        return Math.min(Math.max(t, low), high);
    }
}
