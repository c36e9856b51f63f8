// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.ops.StepOp;
import dev.merapi.ops.Steps;
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
        rows.addAll(IndexRows.all());
        rows.addAll(NeuralRows.all());
        rows.addAll(BackwardRows.all());
        return rows;
    }

    /** The steps that are formulas. */
    public static List<StepOp> steps() {
        return List.of(
                Steps.ADAGRAD,
                Steps.RMSPROP,
                Steps.RMSPROP_CENTERED,
                Steps.RMSPROP_MOMENTUM,
                Steps.RMSPROP_CENTERED_MOMENTUM,
                Steps.LION,
                Steps.ADAM_AMSGRAD,
                Steps.ADAMW_AMSGRAD,
                Steps.MUON_MOMENTUM,
                Steps.MUON_NESTEROV,
                Steps.MUON,
                Steps.CLIP_VALUE);
    }

    /** Op name to the reason why it needs no row. */
    public static Map<String, String> without() {
        String random =
                "numbers, not values: RandomOpsTest holds them against the published generator and their moments";
        String optimizer = "OptimizersTest holds the steps against their papers";
        Map<String, String> reasons = new TreeMap<>();
        for (String op : List.of(
                "bernoulli_", "dropout", "integers_", "normal_", "rand", "randint", "randn", "randperm", "uniform_")) {
            reasons.put("merapi::" + op, random);
        }
        for (String op : List.of("adam_", "grad_norm", "non_finite", "scale_grads_", "sgd_", "update_scale_")) {
            reasons.put("merapi::" + op, optimizer);
        }
        for (StepOp step : steps()) {
            reasons.put(step.op().name(), "OptimizerStepsTest holds the steps of optimisers against PyTorch's");
        }
        reasons.put("merapi::empty", "its contents are undefined");
        return reasons;
    }
}
