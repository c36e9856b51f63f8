// SPDX-License-Identifier: Apache-2.0
package dev.merapi.reference;

import dev.merapi.ops.Optimizers;
import dev.merapi.tensor.Elements;
import dev.merapi.tensor.Tensor;
import org.jspecify.annotations.Nullable;

/** Optimiser steps as the papers have them, in float64. */
public final class OptimizerReference {
    private OptimizerReference() {}

    private static double scalar(@Nullable Tensor t, double otherwise) {
        return t == null ? otherwise : Elements.of(t).getDouble(0);
    }

    public static void adam(Optimizers.Adam a) {
        if (scalar(a.skip(), 0) != 0) {
            return;
        }
        double lr = scalar(a.lr(), 0);
        double step = scalar(a.step(), 1);
        double scale = scalar(a.gradScale(), 1);
        double correction1 = 1 - Math.pow(a.beta1(), step);
        double correction2 = 1 - Math.pow(a.beta2(), step);
        for (int k = 0; k < a.params().size(); k++) {
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
    }

    public static void sgd(Optimizers.Sgd a) {
        if (scalar(a.skip(), 0) != 0) {
            return;
        }
        double lr = scalar(a.lr(), 0);
        boolean first = scalar(a.step(), 1) == 1;
        double scale = scalar(a.gradScale(), 1);
        for (int k = 0; k < a.params().size(); k++) {
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
    }

    public static void gradNorm(Optimizers.GradNorm a, Optimizers.NormAndScale out) {
        double sum = 0;
        for (Tensor t : a.grads()) {
            Elements g = Elements.of(t);
            for (long i = 0; i < g.numel(); i++) {
                sum += g.getDouble(i) * g.getDouble(i);
            }
        }
        double norm = Math.sqrt(sum);
        Elements.of(out.norm()).setDouble(0, norm);
        Elements.of(out.scale()).setDouble(0, Math.min(1, a.maxNorm() / (norm + 1e-6)));
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
            scale.setDouble(0, scale.getDouble(0) * a.backoff());
            streak.setDouble(0, 0);
            return;
        }
        double good = streak.getDouble(0) + 1;
        streak.setDouble(0, good >= a.interval() ? 0 : good);
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
