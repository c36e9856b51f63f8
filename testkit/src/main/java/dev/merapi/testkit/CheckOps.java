// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit;

import dev.merapi.check.OpCheck;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.extension.AfterEachCallback;
import org.junit.jupiter.api.extension.BeforeEachCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ExtensionContext.Namespace;

/**
 * A JUnit 5 extension that puts every op that a test calls through {@link OpCheck}, with the test's own arguments:
 *
 * <pre>{@code
 * @ExtendWith(CheckOps.class)
 * class MyLayerTest { … }
 * }</pre>
 *
 * <p>Calls of one form (op, shapes, dtypes, wanted gradients, plain arguments) are checked once for a test class, when the
 * test that made them first has ended well; a test whose op does not hold up fails with the op's report. Seen are calls on
 * the test's thread, and on those to which its modes are carried; not those that another op makes within. Calls of more
 * than 20,000 elements are not checked; the test's report entries name them.
 *
 * <p>Merapi's own ops are left out, as they are tested elsewhere. {@code @RegisterExtension} takes an instance with other
 * settings: {@code new CheckOps().withBuiltIn().skip("demo::x", "odd sizes", "powers of two only")}.
 */
public final class CheckOps implements BeforeEachCallback, AfterEachCallback {
    private static final Namespace NAMESPACE = Namespace.create(CheckOps.class);

    private record Skip(String op, String check, String reason) {}

    private final List<Skip> skips = new ArrayList<>();
    private boolean builtIn;

    /** Checks Merapi's own ops as well. */
    public CheckOps withBuiltIn() {
        builtIn = true;
        return this;
    }

    /**
     * Leaves a check of an op out, as {@link OpCheck#skip} does.
     *
     * @param op its name, such as {@code demo::leaky}
     */
    public CheckOps skip(String op, String check, String reason) {
        skips.add(new Skip(op, check, reason));
        return this;
    }

    @Override
    @SuppressWarnings("unchecked")
    public void beforeEach(ExtensionContext context) {
        Set<String> known = context.getParent()
                .orElse(context)
                .getStore(NAMESPACE)
                .getOrComputeIfAbsent(
                        "known", key -> java.util.Collections.synchronizedSet(new HashSet<String>()), Set.class);
        context.getStore(NAMESPACE)
                .put("calls", new RecordedCalls(name -> builtIn || !name.startsWith("merapi::"), known));
    }

    @Override
    public void afterEach(ExtensionContext context) {
        RecordedCalls recorded = context.getStore(NAMESPACE).remove("calls", RecordedCalls.class);
        if (recorded == null) {
            return;
        }
        recorded.stop();
        try (RecordedCalls calls = recorded) {
            if (context.getExecutionException().isPresent()) {
                return; // it has failed already, and says why
            }
            List<OpCheck.Report> failed = calls.failures(this::set);
            for (Map.Entry<String, String> left : calls.left().entrySet()) {
                context.publishReportEntry("not checked: " + left.getKey(), left.getValue());
            }
            if (!failed.isEmpty()) {
                throw new AssertionError(String.join(
                        "\n\n", failed.stream().map(Object::toString).toList()));
            }
        }
    }

    private void set(OpCheck<?, ?> check) {
        for (Skip s : skips) {
            if (s.op.equals(check.op().name())) {
                check.skip(s.check, s.reason);
            }
        }
    }
}
