// SPDX-License-Identifier: Apache-2.0
package dev.merapi.examples;

import dev.merapi.nn.BatchNorm2d;
import dev.merapi.nn.Conv2d;
import dev.merapi.nn.Layer;
import dev.merapi.nn.Linear;
import dev.merapi.nn.Pool;
import dev.merapi.nn.Sequential;
import dev.merapi.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * ResNet-18, with torchvision's names: its state loads as it is. Images [N, 3, H, W] → [N, classes].
 *
 * @see <a href="https://arxiv.org/abs/1512.03385">He et al. 2016</a>
 */
final class ResNet18 extends Layer {
    private final Conv2d conv;
    private final BatchNorm2d norm;
    private final Layer pool = Pool.max(Pool.window(3).stride(2).padding(1));
    private final List<Sequential> stages = new ArrayList<>();
    private final Linear head;

    /** @param width channels of the first stage, 64 in the paper; each of the four has twice those before it */
    ResNet18(int width, int classes) {
        conv = child(
                "conv1",
                new Conv2d(3, width, 7, Conv2d.options().stride(2).padding(3).noBias()));
        norm = child("bn1", new BatchNorm2d(width));
        int in = width;
        for (int stage = 0; stage < 4; stage++) {
            int out = width << stage;
            Sequential blocks = new Sequential()
                    .then(new Residual(in, out, stage == 0 ? 1 : 2))
                    .then(new Residual(out, out, 1));
            stages.add(child("layer" + (stage + 1), blocks));
            in = out;
        }
        head = child("fc", new Linear(in, classes));
    }

    @Override
    protected Tensor compute(Tensor x) {
        Tensor y = pool.forward(norm.forward(conv.forward(x)).relu());
        for (Sequential stage : stages) {
            y = stage.forward(y);
        }
        return head.forward(y.mean(new int[] {2, 3}, false));
    }

    /** Two convolutions, added to what they read. */
    private static final class Residual extends Layer {
        private final Conv2d conv1;
        private final BatchNorm2d norm1;
        private final Conv2d conv2;
        private final BatchNorm2d norm2;
        private final @Nullable Sequential shortcut;

        Residual(int in, int out, int stride) {
            Conv2d.Options same = Conv2d.options().padding(1).noBias();
            conv1 = child("conv1", new Conv2d(in, out, 3, same.stride(stride)));
            norm1 = child("bn1", new BatchNorm2d(out));
            conv2 = child("conv2", new Conv2d(out, out, 3, same));
            norm2 = child("bn2", new BatchNorm2d(out));
            Conv2d.Options point = Conv2d.options().stride(stride).noBias();
            shortcut = stride == 1
                    ? null
                    : child(
                            "downsample",
                            new Sequential().then(new Conv2d(in, out, 1, point)).then(new BatchNorm2d(out)));
        }

        @Override
        protected Tensor compute(Tensor x) {
            Tensor y =
                    norm2.forward(conv2.forward(norm1.forward(conv1.forward(x)).relu()));
            return y.add(shortcut == null ? x : shortcut.forward(x)).relu();
        }
    }
}
