// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.op;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.merapi.error.SchemaException;
import dev.merapi.op.CudaKernel;
import dev.merapi.op.CudaNames;
import dev.merapi.op.Op;
import dev.merapi.op.Result;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DeviceType;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** No operand of a CUDA kernel stands for another one, nor for a word of the language: that shows when it is registered. */
class CudaNamesTest {
    private static final CudaKernel BODY = CudaKernel.body("");
    private static final CudaKernel ROWS = BODY.launch(new CudaKernel.Rows(64));
    private static final CudaKernel SOURCE = CudaKernel.source("k", "");

    public record Out(Tensor x, Tensor out) {}

    public record OutScalar(Tensor x, double out) {}

    public record X(Tensor x) {}

    public record Numbered(Tensor x, Tensor out1) {}

    public record Options(double eps) {}

    public record Nested(Tensor x, Options options, double options_eps) {}

    public record Presence(Tensor x, @Nullable Double eps, boolean has_eps) {}

    public record Word(Tensor template) {}

    public record Macro(Tensor x, double NAN) {}

    public record Place(Tensor x, long i) {}

    public record RowPlace(Tensor x, long threads) {}

    public record Around(Tensor x, Tensor Unwanted) {}

    @SuppressWarnings("UnicodeInCode") // is what it tests
    public record Foreign(Tensor größe) {}

    public record Reserved(Tensor x, Tensor __shared) {}

    public record Typed(Tensor scalar) {}

    public record Y(Tensor y) {}

    public record Named(Tensor y, Tensor x) {}

    @Test
    void operandsThatWouldShareANameAreRefusedWithAnother() {
        Map<String, Runnable> mistakes = new LinkedHashMap<>();
        mistakes.put("the result and argument 'out' are both called 'out'", () -> forward(Out.class, BODY));
        mistakes.put("the result and argument 'out' are both called 'out' ", () -> forward(OutScalar.class, SOURCE));
        mistakes.put(
                "an element of the result and argument 'out1' are both called 'out1'",
                () -> Op.define("names::op", Numbered.class, Result.tensors()).kernel(DeviceType.CUDA, BODY));
        mistakes.put(
                "the output 'x' of the result and argument 'x' are both called 'x'",
                () -> Op.define("names::op", X.class, Named.class)
                        .shape(a -> new Named(Tensor.meta(a.x()), Tensor.meta(a.x())))
                        .kernel(DeviceType.CUDA, BODY)
                        .register());
        mistakes.put("are both called 'options_eps'", () -> forward(Nested.class, BODY));
        mistakes.put("are both called 'has_eps'", () -> forward(Presence.class, BODY));
        mistakes.put("argument 'template' is called 'template', which in a CUDA", () -> forward(Word.class, BODY));
        mistakes.put("argument 'NAN' is called 'NAN'", () -> forward(Macro.class, BODY));
        mistakes.put("argument 'i' is called 'i'", () -> forward(Place.class, BODY));
        mistakes.put("argument 'threads' is called 'threads'", () -> forward(RowPlace.class, ROWS));
        mistakes.put("argument 'Unwanted' is called", () -> forward(Around.class, BODY));
        mistakes.put("argument 'größe' is called", () -> forward(Foreign.class, BODY));
        mistakes.put("argument '__shared' is called", () -> forward(Reserved.class, BODY));
        mistakes.put("the type scalar_t", () -> forward(Typed.class, SOURCE));
        mistakes.put(
                "backward of names::op: the gradient d_out that comes in and the gradient of argument 'out'",
                () -> Op.define("names::op", Out.class, Tensor.class).backward(DeviceType.CUDA, BODY));
        mistakes.put(
                "backward of names::op: the gradient d_y that comes in and the gradient of argument 'y'",
                () -> Op.define("names::op", Y.class, Named.class).backward(DeviceType.CUDA, SOURCE));
        mistakes.forEach((text, mistake) -> assertThatThrownBy(mistake::run)
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("names::op")
                .hasMessageContaining(text.strip())
                .hasMessageContaining("fix: give ")
                .hasMessageMatching("(?s).*such as '[A-Za-z0-9_]+_value'.*"));
    }

    private static <A extends Record> void forward(Class<A> type, CudaKernel code) {
        Op.define("names::op", type, Tensor.class)
                .shape(a -> null)
                .kernel(DeviceType.CUDA, code)
                .register();
    }

    /** The tensor that is written is the one that is returned: one name for both is right, in whatever order it is said. */
    @Test
    void whatIsReturnedIsCalledAsWhatIsWritten() {
        Op.define("names::op", Out.class, Tensor.class)
                .kernel(DeviceType.CUDA, BODY)
                .shape(Out::out)
                .returnsMutated()
                .mutates("out")
                .definition()
                .requireWhole();
        assertThatThrownBy(() -> Op.define("names::op", Out.class, Tensor.class)
                        .kernel(DeviceType.CUDA, BODY)
                        .shape(Out::x)
                        .returnsMutated()
                        .mutates("x")
                        .definition()
                        .requireWhole())
                .hasMessageContaining("are both called 'out'");
    }

    @Test
    void noWordOfTheLanguageIsAName() {
        List<String> taken = new ArrayList<>();
        for (String word : List.of(
                "bool",
                "template",
                "typename",
                "union",
                "struct",
                "unsigned",
                "signed",
                "register",
                "operator",
                "and",
                "not",
                "nullptr",
                "sizeof",
                "constexpr",
                "blockIdx",
                "threadIdx",
                "warpSize",
                "INFINITY",
                "INT_MAX",
                "NULL",
                "acc_t",
                "merapi",
                "element",
                "__syncthreads",
                "_Bool",
                "a__b",
                "assert",
                "isnan")) {
            try {
                CudaNames.requireSaved("backward of names::op", BODY, word, false);
            } catch (SchemaException e) {
                taken.add(word);
                assertThat(e.getMessage()).contains("'" + word + "'").contains("such as '");
            }
        }
        assertThat(taken).hasSize(28);
        for (String free : List.of("x", "max", "min", "exp", "float4", "size", "saved", "a", "View", "List", "f16")) {
            CudaNames.requireSaved("backward of names::op", BODY, free, false);
        }
        assertThatThrownBy(() -> CudaNames.requireSaved("backward of names::op", BODY, "d_x", true))
                .isInstanceOf(SchemaException.class)
                .hasMessageContaining("a gradient and the saved value 'd_x' are both called 'd_x'");
    }
}
