package stranger;

import dev.merapi.Merapi;
import dev.merapi.autograd.Autograd;
import dev.merapi.io.Safetensors;
import dev.merapi.nn.*;
import dev.merapi.op.*;
import dev.merapi.ops.Losses;
import dev.merapi.optim.AdamW;
import dev.merapi.tensor.*;
import dev.merapi.types.DeviceType;
import java.lang.invoke.MethodHandles;
import java.nio.file.Path;

/** What a stranger tries first: an op of one's own, then to train, save and load. */
public final class Main {
    private record Twice(Tensor x) {}

    private static final Op<Twice, Tensor> TWICE = Op.define(
                    MethodHandles.lookup(), "stranger::twice", Twice.class, Tensor.class)
            .shape(a -> Tensor.meta(a.x()))
            .kernel(DeviceType.CPU, (a, out) -> out.copy_(a.x().mul(2)))
            .autograd((a, out) -> null, (context, nothing, g) -> Grads.of("x", g.mul(2)))
            .register();

    private static Sequential model() {
        return new Sequential().then(new Linear(8, 16)).then(Tensor::gelu).then(new Linear(16, 1));
    }

    public static void main(String[] args) throws Exception {
        Merapi.seed(1);
        Tensor small = Tensor.of(new float[] {1, 2}).requiresGrad(true);
        Autograd.backward(TWICE.call(new Twice(small)).sum());
        System.out.println("gradient " + small.grad().sum().item());

        Sequential model = model();
        Tensor x = Tensor.randn(64, 8);
        Tensor y = x.sum(new int[] {1}, true).sin();
        double first = 0;
        double last = 0;
        try (AdamW optimizer = new AdamW(model.parameters(), 3e-2, 0)) {
            for (int i = 0; i < 60; i++) {
                try (Scope step = Scope.open()) {
                    Tensor loss = Losses.mseLoss(model.forward(x), y);
                    Autograd.backward(loss);
                    optimizer.step();
                    optimizer.zeroGrad();
                    last = loss.item();
                    first = i == 0 ? last : first;
                }
            }
        }
        System.out.println("learns " + (last < first / 2));

        Path file = Path.of(args[0]);
        Safetensors.save(file, model.stateDict());
        Sequential loaded = model();
        loaded.loadStateDict(Safetensors.loadState(file));
        System.out.println("loads " + (model.forward(x).sub(loaded.forward(x)).abs().sum().item() == 0));
        System.out.println("version " + Merapi.version());
        System.out.println("module " + Tensor.class.getModule());
        System.out.println(Merapi.describe());
    }
}
