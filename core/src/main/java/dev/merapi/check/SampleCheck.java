// SPDX-License-Identifier: Apache-2.0
package dev.merapi.check;

import dev.merapi.dispatch.BackendChoice;
import dev.merapi.op.Op;
import dev.merapi.tensor.Scope;
import dev.merapi.types.Device;
import dev.merapi.types.DeviceType;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;

/** The checks of one sample by name, in the order of a report; see {@link OpCheck}. */
final class SampleCheck<A extends Record, R> {
    /** Says what was looked at, which may be empty; throws what is wrong, or {@link NotChecked}. */
    interface Check<A extends Record, R> {
        String run(OpSample<A, R> sample);
    }

    private static final String AGREES_WITH = "agrees with ";
    private static final String GRADIENTS_ON = "gradients on ";

    private final OpSample<A, R> sample;
    private final boolean large;

    SampleCheck(Op<A, R> op, A args, long seed, double tolerance, @Nullable Function<A, R> expecting, boolean large) {
        this.sample = new OpSample<>(op, args, seed, tolerance, expecting);
        this.large = large;
    }

    /** Whether a report can have a line of this name, or lines that begin with it, whatever the op and the machine. */
    static boolean isName(String name) {
        return SampleCheck.<Record, Object>ofEverySample().keySet().stream().anyMatch(n -> n.startsWith(name))
                || AGREES_WITH.strip().equals(name)
                || DeviceType.all().stream()
                        .anyMatch(d -> name.equals(AGREES_WITH + d) || name.equals(GRADIENTS_ON + d));
    }

    static List<String> names() {
        List<String> names =
                new ArrayList<>(SampleCheck.<Record, Object>ofEverySample().keySet());
        names.add(AGREES_WITH + "<device>");
        names.add(GRADIENTS_ON + "<device>");
        return names;
    }

    private static <A extends Record, R> Map<String, Check<A, R>> ofEverySample() {
        Map<String, Check<A, R>> checks = new LinkedHashMap<>();
        checks.put("writes and aliases", s -> new WriteChecks<>(s).writes());
        checks.put("shape rule", s -> new ValueChecks<>(s).shapeRule());
        checks.put("determinism", s -> new ValueChecks<>(s).determinism());
        checks.put("threads", s -> new ThreadChecks<>(s).threads());
        checks.put("transposed inputs", s -> new ValueChecks<>(s).layout(Layouts::transposed));
        checks.put("offset inputs", s -> new ValueChecks<>(s).layout(Layouts::offset));
        checks.put("strided inputs", s -> new ValueChecks<>(s).layout(Layouts::strided));
        checks.put("expanded inputs", s -> new ValueChecks<>(s).layout(Layouts::expanded));
        checks.put("one tensor for two inputs", s -> new ValueChecks<>(s).oneTensorTwice());
        checks.put("empty inputs", s -> new SizeChecks<>(s).sizes(Layouts::empty, Layouts::emptyLast));
        checks.put("0-d inputs", s -> new SizeChecks<>(s).sizes(Layouts::scalar));
        checks.put("size-1 inputs", s -> new SizeChecks<>(s).sizes(Layouts::single));
        checks.put("odd sizes", s -> new SizeChecks<>(s).sizes(Layouts::grown, Layouts::odd, Layouts::shrunk));
        checks.put("absent inputs", s -> new ValueChecks<>(s).absent());
        checks.put("kernel and plain Java agree", s -> new ValueChecks<>(s).reference());
        checks.put("kernel and composition agree", s -> new ValueChecks<>(s).composition());
        checks.put("expected values", s -> new ValueChecks<>(s).expectation());
        checks.put("other dtypes", s -> new DTypeChecks<>(s).values());
        checks.put("autocast", s -> new DTypeChecks<>(s).autocast());
        checks.put("gradients", s -> new GradientChecks<>(s).gradients());
        checks.put("gradients at other sizes", s -> new GradientChecks<>(s).otherSizes());
        checks.put("gradients of other layouts", s -> new GradientChecks<>(s).otherLayouts());
        checks.put("gradients in other dtypes", s -> new GradientChecks<>(s).otherDtypes());
        checks.put("gradients of some inputs", s -> new GradientChecks<>(s).subsets());
        checks.put("second derivatives", s -> new GradientChecks<>(s).secondDerivatives());
        checks.put("forward mode", s -> new ForwardChecks<>(s).forward());
        checks.put("backward kernel and formula agree", s -> new GradientChecks<>(s).kernelAndFormula());
        checks.put("backward under suspicion", s -> new WriteChecks<>(s).backward());
        checks.put("large sizes", s -> new SizeChecks<>(s).large());
        checks.put("no leak", s -> new WriteChecks<>(s).leaks());
        return checks;
    }

    Map<String, Check<A, R>> all() {
        Map<String, Check<A, R>> checks = ofEverySample();
        if (!large) {
            checks.put("large sizes", s -> {
                throw new NotChecked("more than a million elements take a while; ask for them with large()");
            });
        }
        for (DeviceType type : DeviceType.all()) {
            if (sample.hasTensors() && type != sample.device().type() && BackendChoice.isAvailable(type)) {
                Device other = Device.of(type, 0);
                checks.put(AGREES_WITH + type, s -> new ValueChecks<>(s).otherDevice(other));
                checks.put(GRADIENTS_ON + type, s -> new GradientChecks<>(s).on(other));
            }
        }
        checks.replaceAll((name, check) -> scoped(check));
        return checks;
    }

    private static <A extends Record, R> Check<A, R> scoped(Check<A, R> check) {
        return s -> {
            try (Scope scope = Scope.open()) {
                return check.run(s);
            }
        };
    }

    OpSample<A, R> sample() {
        return sample;
    }
}
