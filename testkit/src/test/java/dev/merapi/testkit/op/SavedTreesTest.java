// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.error.SavedTensorException;
import dev.merapi.op.Grads;
import dev.merapi.op.Op;
import dev.merapi.tensor.Scope;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import dev.merapi.types.DeviceType;
import dev.merapi.types.Layout;
import dev.merapi.types.Shape;
import java.lang.invoke.MethodHandles;
import java.time.LocalDate;
import java.util.AbstractMap;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;
import java.util.function.Supplier;
import org.junit.jupiter.api.Test;

/**
 * Whatever tree saveForBackward gives, its tensors are watched and counted, and what belongs to others is copied; what
 * could hide a tensor is refused by the name of its class.
 */
class SavedTreesTest {
    private record X(Tensor x) {}

    private record Pair(Object first, List<Object> second) {}

    /** Where a tensor can stand in a tree, and how to find it there again. */
    private record Place(Function<Tensor, Object> put, Function<Object, Tensor> get) {}

    private static Map<String, Place> places() {
        Map<String, Place> all = new TreeMap<>();
        all.put("tensor", new Place(t -> t, o -> (Tensor) o));
        all.put("Object[]", new Place(t -> new Object[] {1, t}, o -> (Tensor) ((Object[]) o)[1]));
        all.put("Tensor[]", new Place(t -> new Tensor[] {null, t}, o -> ((Tensor[]) o)[1]));
        all.put("Tensor[][]", new Place(t -> new Tensor[][] {{}, {t}}, o -> ((Tensor[][]) o)[1][0]));
        all.put("Record[]", new Place(t -> new X[] {new X(t)}, o -> ((X[]) o)[0].x()));
        all.put("List", new Place(t -> List.of(1, t), o -> (Tensor) ((List<?>) o).get(1)));
        all.put("List with null", new Place(t -> Arrays.asList(null, t), o -> (Tensor) ((List<?>) o).get(1)));
        all.put("ArrayList", new Place(t -> new ArrayList<>(List.of(t)), o -> (Tensor) ((List<?>) o).get(0)));
        all.put("Set", new Place(t -> new LinkedHashSet<>(List.of(t)), o -> only((Collection<?>) o)));
        all.put("Set.of", new Place(java.util.Set::of, o -> only((Collection<?>) o)));
        all.put("Map", new Place(t -> Map.of("a", t), o -> (Tensor) ((Map<?, ?>) o).get("a")));
        all.put("TreeMap", new Place(t -> new TreeMap<>(Map.of("a", t)), o -> (Tensor) ((Map<?, ?>) o).get("a")));
        all.put("Map.Entry", new Place(t -> Map.entry("a", t), o -> (Tensor) ((Map.Entry<?, ?>) o).getValue()));
        all.put("SimpleEntry", new Place(t -> new AbstractMap.SimpleEntry<>("a", t), o ->
                (Tensor) ((Map.Entry<?, ?>) o).getValue()));
        all.put("Optional", new Place(Optional::of, o -> (Tensor) ((Optional<?>) o).orElseThrow()));
        all.put("record", new Place(t -> new Pair(t, List.of()), o -> (Tensor) ((Pair) o).first()));
        all.put("deep", new Place(t -> new Pair(1, List.of(Map.of("k", new Object[] {Optional.of(List.of(t))}))), o -> {
            Object[] array = (Object[]) ((Map<?, ?>) ((Pair) o).second().get(0)).get("k");
            return (Tensor) ((List<?>) ((Optional<?>) array[0]).orElseThrow()).get(0);
        }));
        return all;
    }

    private static Tensor only(Collection<?> all) {
        return (Tensor) all.iterator().next();
    }

    private static Op<X, Tensor> square(Function<Tensor, Object> put, Function<Object, Tensor> get) {
        return Op.define(MethodHandles.lookup(), "trees::square", X.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> out.copy_(a.x().mul(a.x())))
                .autograd(
                        (a, out) -> put.apply(a.x()),
                        (c, saved, g) -> Grads.of("x", get.apply(saved).mul(2).mul(g)));
    }

    @Test
    void tensorsAreWatchedWhereverTheyStand() {
        places().forEach((name, place) -> {
            Op<X, Tensor> op = square(place.put, place.get);
            Tensor x = Tensor.of(3.0).requiresGrad(true);
            Autograd.backward(op.call(new X(x)).sum());
            assertThat(x.grad().item()).as(name).isEqualTo(6);

            Tensor leaf = Tensor.of(3.0).requiresGrad(true);
            Tensor middle = leaf.mul(1);
            Tensor y = op.call(new X(middle));
            middle.mul_(10);
            assertThatThrownBy(() -> Autograd.backward(y.sum()))
                    .as(name)
                    .isInstanceOf(SavedTensorException.class)
                    .hasMessageContaining("trees::square")
                    .hasMessageContaining("modified in place");
        });
    }

    /** The scope that made it ends, and still it is there for backward; and is freed by it. */
    @Test
    void tensorsAreKeptAndFreedWhereverTheyStand() {
        places().forEach((name, place) -> {
            Tensor[] kept = new Tensor[1];
            Op<X, Tensor> op = square(place.put, saved -> kept[0] = place.get.apply(saved));
            Tensor x = Tensor.of(3.0).requiresGrad(true);
            try (Scope outer = Scope.open()) {
                Tensor y;
                try (Scope inner = Scope.open()) {
                    y = inner.keep(op.call(new X(x.mul(1))).sum());
                }
                Autograd.backward(y);
            }
            assertThat(x.grad().item()).as(name).isEqualTo(6);
            assertThat(kept[0].isClosed()).as(name + " after backward").isTrue();
        });
    }

    @Test
    void keepingAValueKeepsItsTensorsWhereverTheyStand() {
        places().forEach((name, place) -> {
            Object value = Scope.scoped(() -> place.put.apply(Tensor.ones(2).mul(1)));
            if (!name.equals("record") && !name.equals("deep") && !name.equals("Record[]")) { // not public ones
                assertThat(place.get.apply(value).isClosed()).as(name).isFalse();
            }
        });
    }

    static final class Holder {
        private final Tensor hidden;

        Holder(Tensor hidden) {
            this.hidden = hidden;
        }
    }

    static final class Generic<T> {
        private final T value;

        Generic(T value) {
            this.value = value;
        }
    }

    static class Child extends Generics {
        final int own = 1;
    }

    static class Generics {
        final Supplier<?> any = () -> 1;
    }

    @Test
    void whatCouldHideATensorIsRefusedByItsClass() {
        Map<String, Function<Tensor, Object>> hiding = new LinkedHashMap<>();
        hiding.put("SavedTreesTest$Holder", Holder::new);
        hiding.put("SavedTreesTest$Generic", Generic::new);
        hiding.put("SavedTreesTest$Child", t -> new Child());
        hiding.put("AtomicReference", AtomicReference::new);
        hiding.put("ArrayDeque", t -> new ArrayDeque<>(List.of(t)));
        hiding.put("SavedTreesTest$$Lambda", t -> (Supplier<Tensor>) () -> t);
        hiding.forEach((type, make) -> {
            for (Function<Tensor, Object> place : List.<Function<Tensor, Object>>of(
                    make,
                    t -> List.of(make.apply(t)),
                    t -> new Object[] {make.apply(t)},
                    t -> new Pair(make.apply(t), List.of()),
                    t -> Map.of("a", make.apply(t)))) {
                Tensor x = Tensor.of(3.0).requiresGrad(true);
                assertThatThrownBy(() -> square(place, o -> x).call(new X(x)))
                        .as(type)
                        .isInstanceOf(SavedTensorException.class)
                        .hasMessageContaining("trees::square: saveForBackward")
                        .hasMessageContaining(type)
                        .hasMessageContaining("fix: save a tensor, record,");
            }
        });
        Tensor x = Tensor.of(3.0).requiresGrad(true);
        assertThatThrownBy(() ->
                        square(t -> new HashMap<>(Map.of(t, 1)), o -> x).call(new X(x)))
                .isInstanceOf(SavedTensorException.class)
                .hasMessageContaining("a tensor is the key of a map");
    }

    @Test
    void plainValuesOfAllKindsAreSaved() {
        for (Object plain : List.of(
                1,
                2L,
                3.0,
                true,
                'c',
                "text",
                DType.INT64,
                Shape.of(2),
                Layout.contiguous(Shape.of(2)),
                new int[] {1},
                new String[] {"a"},
                new long[][] {{1}},
                LocalDate.EPOCH,
                new Random(1),
                Optional.empty(),
                List.of(1, 2),
                Map.of("a", 1),
                X.class)) {
            Tensor x = Tensor.of(3.0).requiresGrad(true);
            Autograd.backward(square(t -> List.of(t, plain), o -> (Tensor) ((List<?>) o).get(0))
                    .call(new X(x))
                    .sum());
            assertThat(x.grad().item()).as(plain.getClass().getName()).isEqualTo(6);
        }
    }

    private record Scaled(Tensor x, long[] by, List<Double> more) {}

    /** What the caller, or the author of the op, changes after the call does not reach backward. */
    @Test
    void arraysAndListsOfOthersAreCopied() {
        double[] ofAuthor = {1};
        Op<Scaled, Tensor> op = Op.define(MethodHandles.lookup(), "trees::scaled", Scaled.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> out.copy_(a.x().mul(a.by()[0])))
                .autograd((a, out) -> List.of(a, ofAuthor), (c, saved, g) -> {
                    Scaled a = (Scaled) saved.get(0);
                    double factor = a.by()[0] * a.more().get(0) * ((double[]) saved.get(1))[0];
                    return Grads.of("x", g.mul(factor));
                });
        Tensor x = Tensor.of(3.0).requiresGrad(true);
        long[] by = {5};
        List<Double> more = new ArrayList<>(List.of(1.0));
        Tensor y = op.call(new Scaled(x, by, more));
        by[0] = 100;
        more.set(0, 100.0);
        ofAuthor[0] = 100;
        Autograd.backward(y.sum());
        assertThat(x.grad().item()).isEqualTo(5);
    }

    private record Seen(Tensor x, long[] sizes) {}

    @Test
    void aViewMakesItselfAgainFromTheArgumentsThatItWasMadeWith() {
        Op<Seen, Tensor> op = Op.define(MethodHandles.lookup(), "trees::seen", Seen.class, Tensor.class)
                .view("x", a -> Layout.contiguous(Shape.of(a.sizes())));
        for (boolean writeFirst : new boolean[] {false, true}) {
            Tensor x = Tensor.of(1.0, 2.0, 3.0, 4.0).requiresGrad(true);
            Tensor base = x.mul(1);
            long[] sizes = {2, 2};
            Tensor view = op.call(new Seen(base, sizes));
            sizes[0] = 1;
            if (writeFirst) {
                base.mul_(3);
            }
            Autograd.backward(view.sum());
            assertThat(x.grad().toDoubleArray()).as("" + writeFirst).containsOnly(writeFirst ? 3 : 1);
        }
    }

    private record ByName(Tensor x, int[] dims) {}

    @Test
    void defaultsAreNobodysToChange() {
        int[] dims = {4};
        Op<ByName, Tensor> op = Op.define(MethodHandles.lookup(), "trees::by_name", ByName.class, Tensor.class)
                .shape(a -> Tensor.meta(a.x()))
                .kernel(DeviceType.CPU, (a, out) -> out.fill_(a.dims()[0]++))
                .defaultValue("dims", dims);
        dims[0] = 9;
        for (int again = 0; again < 2; again++) {
            assertThat(op.call(Map.of("x", Tensor.of(0.0))).item()).isEqualTo(4);
        }
        int[] ofCaller = {7};
        op.call(Map.of("x", Tensor.of(0.0), "dims", ofCaller));
        assertThat(ofCaller).containsExactly(7);
    }
}
