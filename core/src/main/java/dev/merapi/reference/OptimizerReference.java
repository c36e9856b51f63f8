// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Optimizers;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import java.util.List;
import org.jspecify.annotations.Nullable;

/** Optimiser steps as the papers have them, in float64. */
public final class OptimizerReference {
    private OptimizerReference() {}

    private static double scalar(@Nullable Tensor t, double otherwise) {
        return t == null ? otherwise : Elements.of(t).getDouble(0);
    }

    private static long steps(Tensor t) {
        return Elements.of(t).getLong(0);
    }

    private static void count(List<Tensor> steps) {
        for (Tensor t : steps) {
            Elements.of(t).setLong(0, steps(t) + 1);
        }
    }

    public static void adam(Optimizers.Adam a) {
        if (scalar(a.skip(), 0) != 0) {
            return;
        }
        double lr = scalar(a.lr(), 0);
        double scale = scalar(a.gradScale(), 1);
        for (int k = 0; k < a.params().size(); k++) {
            double step = steps(a.steps().get(k)) + 1;
            double correction1 = 1 - Math.pow(a.beta1(), step);
            double correction2 = 1 - Math.pow(a.beta2(), step);
            Elements p = Elements.of(a.params().get(k));
            Elements g = Elements.of(a.grads().get(k));
            Elements m = Elements.of(a.m().get(k));
            Elements v = Elements.of(a.v().get(k));
            Elements w = a.master().isEmpty() ? p : Elements.of(a.master().get(k));
            for (long i = 0; i < p.numel(); i++) {
                double x = w.getDouble(i);
                double d = g.getDouble(i) * scale + (a.decoupled() ? 0 : a.weightDecay() * x);
                x -= a.decoupled() ? lr * a.weightDecay() * x : 0;
                double first = a.beta1() * m.getDouble(i) + (1 - a.beta1()) * d;
                double second = a.beta2() * v.getDouble(i) + (1 - a.beta2()) * d * d;
                m.setDouble(i, first);
                v.setDouble(i, second);
                w.setDouble(i, x - lr * (first / correction1) / (Math.sqrt(second / correction2) + a.eps()));
                p.setDouble(i, w.getDouble(i));
            }
        }
        count(a.steps());
    }

    public static void sgd(Optimizers.Sgd a) {
        if (scalar(a.skip(), 0) != 0) {
            return;
        }
        double lr = scalar(a.lr(), 0);
        double scale = scalar(a.gradScale(), 1);
        for (int k = 0; k < a.params().size(); k++) {
            boolean first = steps(a.steps().get(k)) == 0;
            Elements p = Elements.of(a.params().get(k));
            Elements g = Elements.of(a.grads().get(k));
            Elements b = a.momentum() == 0 ? null : Elements.of(a.buffers().get(k));
            Elements w = a.master().isEmpty() ? p : Elements.of(a.master().get(k));
            for (long i = 0; i < p.numel(); i++) {
                double x = w.getDouble(i);
                double d = g.getDouble(i) * scale + a.weightDecay() * x;
                if (b != null) {
                    double kept = first ? d : a.momentum() * b.getDouble(i) + (1 - a.dampening()) * d;
                    b.setDouble(i, kept);
                    d = a.nesterov() ? d + a.momentum() * kept : kept;
                }
                w.setDouble(i, x - lr * d);
                p.setDouble(i, w.getDouble(i));
            }
        }
        count(a.steps());
    }

    /**
     * A sum of squares whose terms neither overflow nor vanish: large and small ones are scaled before, by powers of two
     * (J. L. Blue, A portable Fortran program to find the Euclidean norm of a vector, 1978).
     */
    private static final class Squares {
        private static final double LARGE = 0x1p490;
        private static final double DOWN = 0x1p-600;
        private static final double UP = 0x1p600;

        private double large;
        private double middle;
        private double small;

        void add(double x) {
            double size = Math.abs(x);
            if (size > LARGE) {
                large += x * DOWN * (x * DOWN);
            } else if (size < 1 / LARGE) {
                small += x * UP * (x * UP);
            } else {
                middle += x * x; // NaN too
            }
        }

        /** The scale min(1, most / (norm + 1e-6)) and the norm, with another norm added. */
        void finish(double before, double most, Optimizers.NormAndScale out) {
            double norm;
            double ratio;
            if (large > 0 || before > LARGE) {
                double root = Math.hypot(Math.sqrt(large + middle * DOWN * DOWN), before * DOWN);
                norm = root * UP;
                ratio = most * DOWN / root; // also where the norm itself is not a float64
            } else {
                double tiny = Math.hypot(Math.sqrt(small), before < 1 / LARGE ? before * UP : 0);
                norm = middle == 0 && before < 1 / LARGE
                        ? tiny * DOWN
                        : Math.sqrt(middle + before * before + tiny * DOWN * (tiny * DOWN));
                ratio = most / (norm + 1e-6);
            }
            if (Double.isNaN(large + middle) || Double.isNaN(before)) {
                norm = Double.NaN;
                ratio = Double.NaN;
            }
            Elements.of(out.norm()).setDouble(0, norm);
            Elements.of(out.scale()).setDouble(0, Math.min(1, ratio));
        }
    }

    public static void gradNorm(Optimizers.GradNorm a, Optimizers.NormAndScale out) {
        Squares squares = new Squares();
        for (Tensor t : a.grads()) {
            Elements g = Elements.of(t);
            for (long i = 0; i < g.numel(); i++) {
                squares.add(g.getDouble(i));
            }
        }
        squares.finish(Math.abs(scalar(a.before(), 0)), a.maxNorm(), out);
    }

    public static void nonFinite(Optimizers.NonFinite a, Tensor out) {
        boolean any = false;
        for (Tensor t : a.grads()) {
            Elements g = Elements.of(t);
            for (long i = 0; i < g.numel() && !any; i++) {
                any = !Double.isFinite(g.getDouble(i));
            }
        }
        Elements.of(out).setDouble(0, any ? 1 : 0);
    }

    public static void updateScale(Optimizers.UpdateScale a) {
        Elements scale = Elements.of(a.scale());
        Elements streak = Elements.of(a.streak());
        if (scalar(a.nonFinite(), 0) != 0) {
            scale.setDouble(0, Math.max(Float.MIN_NORMAL, (float) (scale.getDouble(0) * a.backoff())));
            streak.setLong(0, 0);
            return;
        }
        long good = streak.getLong(0) + 1;
        streak.setLong(0, good >= a.interval() ? 0 : good);
        double grown = scale.getDouble(0) * a.growth();
        if (good >= a.interval() && Float.isFinite((float) grown)) {
            scale.setDouble(0, grown);
        }
    }

    public static void scale(Optimizers.ScaleGrads a) {
        double scale = scalar(a.scale(), 1);
        for (Tensor t : a.grads()) {
            Elements g = Elements.of(t);
            for (long i = 0; i < g.numel(); i++) {
                g.setDouble(i, g.getDouble(i) * scale);
            }
        }
    }
}
