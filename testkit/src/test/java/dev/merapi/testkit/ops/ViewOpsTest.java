// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.autograd.Autograd;
import dev.merapi.check.GradCheck;
import dev.merapi.error.AliasException;
import dev.merapi.error.GradientException;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Views: what they show, that they share memory, and gradients through them, also when they are written. */
class ViewOpsTest {
    /** 0 … 23 in shape [2, 3, 4]: the element at (i, j, k) is 12 i + 4 j + k. */
    private static Tensor counting() {
        return Tensor.arange(24).to(DType.FLOAT64).reshape(2, 3, 4);
    }

    private static Map<String, Function<Tensor, Tensor>> all() {
        return Map.ofEntries(
                Map.entry("slice", x -> x.slice(1, 1, 3)),
                Map.entry("slice with step", x -> x.slice(2, 0, 4, 3)),
                Map.entry("select", x -> x.select(1, -1)),
                Map.entry("at", x -> x.at(1, 2)),
                Map.entry("narrow", x -> x.narrow(0, 1, 1)),
                Map.entry("transpose", x -> x.transpose(0, 2)),
                Map.entry("permute", x -> x.permute(2, 0, 1)),
                Map.entry("moveDim", x -> x.moveDim(0, -1)),
                Map.entry("unsqueeze", x -> x.unsqueeze(1)),
                Map.entry("squeeze", x -> x.slice(1, 0, 1).squeeze(1)),
                Map.entry("view", x -> x.view(6, -1)),
                Map.entry("unflatten", x -> x.unflatten(2, 2, 2)),
                Map.entry("flatten", x -> x.flatten(0, 1)),
                Map.entry("diagonal", x -> x.diagonal(1, 1, 2)),
                Map.entry("of a view", x -> x.transpose(0, 1).slice(0, 0, 2).select(1, 0)));
    }

    static Stream<String> views() {
        return all().keySet().stream().sorted();
    }

    private static Function<Tensor, Tensor> view(String name) {
        return Objects.requireNonNull(all().get(name));
    }

    @Test
    void showTheRightElements() {
        Tensor x = counting();
        assertThat(x.slice(1, 1, 3).at(1).toIntArray()).containsExactly(16, 17, 18, 19, 20, 21, 22, 23);
        assertThat(x.slice(2, -3, 100, 2).at(0, 0).toIntArray()).containsExactly(1, 3);
        assertThat(x.select(1, -1).toIntArray()).containsExactly(8, 9, 10, 11, 20, 21, 22, 23);
        assertThat(x.permute(2, 0, 1).at(1).toIntArray()).containsExactly(1, 5, 9, 13, 17, 21);
        assertThat(x.moveDim(0, -1).at(2, 3).toIntArray()).containsExactly(11, 23);
        assertThat(x.diagonal(1, 1, 2).toIntArray()).containsExactly(1, 6, 11, 13, 18, 23);
        assertThat(x.diagonal(-1, 1, 2).toIntArray()).containsExactly(4, 9, 16, 21);
        assertThat(x.unbind(2).get(3).toIntArray()).containsExactly(3, 7, 11, 15, 19, 23);
        assertThat(x.split(3, 2).get(1).toIntArray()).containsExactly(3, 7, 11, 15, 19, 23);
        assertThat(x.chunk(2, 1)).extracting(t -> t.size(1)).containsExactly(2L, 1L);
        assertThat(x.at(0).t().toIntArray()).containsExactly(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11);
        assertThat(x.slice(0, 1, 1).shape().toString()).isEqualTo("[0, 3, 4]");
    }

    @ParameterizedTest
    @MethodSource("views")
    void shareMemory(String name) {
        Tensor x = counting();
        Tensor v = view(name).apply(x);
        v.fill_(-1);
        long written = 0;
        for (double value : x.toDoubleArray()) {
            written += value == -1 ? 1 : 0;
        }
        assertThat(written).isEqualTo(v.numel());
    }

    @ParameterizedTest
    @MethodSource("views")
    void gradientsOfBothOrders(String name) {
        Tensor x = counting().requiresGrad(true);
        GradCheck.of(in -> view(name).apply(in.get(0)).square(), List.of(x))
                .run()
                .orThrow();
        GradCheck.second(in -> view(name).apply(in.get(0)).mul(0.1).exp(), List.of(x))
                .run()
                .orThrow();
    }

    /** y = 2x; a view of y is multiplied in place by w; then all of y counts. */
    @ParameterizedTest
    @MethodSource("views")
    void writingToAViewIsRecordedInItsBase(String name) {
        Tensor x = counting().add(1).div(10).requiresGrad(true);
        Tensor w = Tensor.of(1.5).requiresGrad(true);
        GradCheck.of(
                        in -> {
                            Tensor y = in.get(0).mul(2);
                            Tensor v = view(name).apply(y);
                            v.mul_(in.get(1));
                            return y.square();
                        },
                        List.of(x, w))
                .run()
                .orThrow();
    }

    @ParameterizedTest
    @MethodSource("views")
    void writingToTheBaseShowsInViewsMadeBefore(String name) {
        Tensor x = counting().add(1).div(10).requiresGrad(true);
        GradCheck.of(
                        in -> {
                            Tensor y = in.get(0).mul(2);
                            Tensor v = view(name).apply(y);
                            y.mul_(in.get(0));
                            return v.square();
                        },
                        List.of(x))
                .run()
                .orThrow();
    }

    @Test
    void partsOfASplitTogetherGiveTheWholeGradient() {
        Tensor x = counting().div(10).requiresGrad(true);
        GradCheck.of(
                        in -> {
                            List<Tensor> parts = in.get(0).split(new long[] {1, 3}, 2);
                            return parts.get(0).mul(parts.get(1)).square();
                        },
                        List.of(x))
                .run()
                .orThrow();
        List<Tensor> parts = x.mul(1).split(2, 2);
        assertThatThrownBy(() -> parts.get(0).add_(1)).isInstanceOf(GradientException.class);
        Autograd.backward(x.unbind(0).get(1).sum());
        assertThat(Objects.requireNonNull(x.grad()).sum().item()).isEqualTo(12);
    }

    @Test
    void expandedTensorsAreReadOnlyAndSumTheirGradients() {
        Tensor x = Tensor.of(1.0, 2.0).requiresGrad(true);
        Tensor wide = x.expand(3, -1);
        assertThat(wide.toDoubleArray()).containsExactly(1, 2, 1, 2, 1, 2);
        Autograd.backward(wide.mul(Tensor.of(new double[] {1, 2, 3}, 3, 1)).sum());
        assertThat(Objects.requireNonNull(x.grad()).toDoubleArray()).containsExactly(6, 6);
        Tensor plain = Tensor.zeros(1, 2);
        assertThatThrownBy(() -> plain.expand(3, 2).add_(1)).isInstanceOf(AliasException.class);
    }

    @Test
    void overlappingInputsOfAnInPlaceOpAreCopiedFirst() {
        Tensor x = Tensor.of(1.0, 2.0, 3.0, 4.0);
        x.slice(0, 1, 4).copy_(x.slice(0, 0, 3));
        assertThat(x.toDoubleArray()).containsExactly(1, 1, 2, 3);
    }

    @Test
    void reshapeCopiesOnlyWhereItMust() {
        Tensor x = counting();
        x.reshape(4, 6).fill_(1);
        assertThat(x.sum().item()).isEqualTo(24);
        x.transpose(0, 2).reshape(24).fill_(5);
        assertThat(x.sum().item()).isEqualTo(24);
        assertThatThrownBy(() -> x.transpose(0, 2).view(24))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("reshape");
    }

    @Test
    void wrongDimensionsAreNamed() {
        Tensor x = counting();
        assertThatThrownBy(() -> x.select(1, 3)).hasMessageContaining("3").hasMessageContaining("[2, 3, 4]");
        assertThatThrownBy(() -> x.narrow(1, 2, 2))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("narrow");
        assertThatThrownBy(() -> x.transpose(0, 3)).isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> x.view(5, -1))
                .isInstanceOf(ShapeException.class)
                .hasMessageContaining("24");
        assertThatThrownBy(() -> x.expand(2, 3, 8)).isInstanceOf(ShapeException.class);
        assertThatThrownBy(() -> x.t()).isInstanceOf(ShapeException.class).hasMessageContaining("transpose(-2, -1)");
        assertThatThrownBy(() -> x.split(new long[] {1, 1}, 1)).isInstanceOf(ShapeException.class);
    }
}
