// SPDX-License-Identifier: Apache-2.0
package dev.merapi.nn;

import dev.merapi.error.Message;
import dev.merapi.error.ShapeException;
import dev.merapi.tensor.Tensor;
import dev.merapi.types.DType;
import java.util.List;
import java.util.Objects;

/**
 * Turns pairs of a head's elements by angles that grow with the position, so that products of queries and keys depend on
 * how far apart they are. Element i is paired with element i + D/2, as in Llama and GPT-NeoX.
 *
 * @param width D, the width of a head, even
 * @param base whose powers the slownesses of the pairs are; 10000 is usual
 * @see <a href="https://arxiv.org/abs/2104.09864">Su et al. 2021</a>
 */
public record RotaryPositions(long width, double base) {
    /**
     * Checks the numbers.
     *
     * @param width D, the width of a head, even
     * @param base whose powers the slownesses of the pairs are; 10000 is usual
     * @throws ShapeException if the width is odd
     */
    public RotaryPositions {
        if (width < 2 || width % 2 != 0) {
            throw new ShapeException(Message.of(
                            "RotaryPositions",
                            "the width of a head is " + width + ", but must be even, for elements are turned in pairs")
                    .argument("width"));
        }
        if (!(base > 0 && base < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("RotaryPositions: the base is " + base + ", but must be positive");
        }
    }

    /**
     * Turns queries or keys.
     *
     * @param x [B, heads, T, D]
     * @param from the position of the first of the T
     * @return the shape of {@code x}
     * @throws ShapeException if the last dimension is not D
     */
    public Tensor turn(Tensor x, long from) {
        Objects.requireNonNull(x, "x");
        Init.atLeast(0, "RotaryPositions.turn", "from", from);
        if (x.rank() < 2 || x.size(-1) != width) {
            throw new ShapeException(
                    Message.of("RotaryPositions.turn", "x must be [.., T, " + width + "], but is " + x.describe())
                            .argument("x"));
        }
        DType dtype = x.dtype().computeType();
        Tensor slowness = Tensor.arange(0, width, 2, dtype, x.device())
                .mul(-Math.log(base) / width)
                .exp();
        Tensor positions = Tensor.arange(from, from + x.size(-2), 1, dtype, x.device());
        Tensor angles = positions.unsqueeze(1).mul(slowness);
        Tensor cos = angles.cos().to(x.dtype());
        Tensor sin = angles.sin().to(x.dtype());
        Tensor a = x.slice(-1, 0, width / 2);
        Tensor b = x.slice(-1, width / 2, width);
        return Tensor.cat(List.of(a.mul(cos).sub(b.mul(sin)), b.mul(cos).add(a.mul(sin))), -1);
    }
}
