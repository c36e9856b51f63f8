// SPDX-License-Identifier: Apache-2.0
package dev.merapi.testkit.check;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.engine.JupiterTestEngine;
import org.junit.platform.engine.ConfigurationParameters;
import org.junit.platform.engine.DiscoveryFilter;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.EngineDiscoveryRequest;
import org.junit.platform.engine.EngineExecutionListener;
import org.junit.platform.engine.ExecutionRequest;
import org.junit.platform.engine.OutputDirectoryCreator;
import org.junit.platform.engine.TestDescriptor;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.engine.UniqueId;
import org.junit.platform.engine.discovery.DiscoverySelectors;
import org.junit.platform.engine.support.store.NamespacedHierarchicalStore;

/** Runs the tests of a class within a test. */
final class JupiterRun {
    private static final ConfigurationParameters NONE = new ConfigurationParameters() {
        @Override
        public Optional<String> get(String key) {
            return Optional.empty();
        }

        @Override
        public Optional<Boolean> getBoolean(String key) {
            return Optional.empty();
        }

        @Override
        public int size() {
            return 0;
        }

        @Override
        public Set<String> keySet() {
            return Set.of();
        }
    };

    private static final OutputDirectoryCreator NOWHERE = new OutputDirectoryCreator() {
        @Override
        public java.nio.file.Path getRootDirectory() {
            throw new UnsupportedOperationException();
        }

        @Override
        public java.nio.file.Path createOutputDirectory(TestDescriptor test) {
            throw new UnsupportedOperationException();
        }
    };

    private JupiterRun() {}

    /** What each test threw. */
    static Map<String, Optional<Throwable>> of(Class<?> tests) {
        JupiterTestEngine engine = new JupiterTestEngine();
        TestDescriptor root = engine.discover(request(tests), UniqueId.forEngine(engine.getId()));
        Map<String, Optional<Throwable>> results = new LinkedHashMap<>();
        EngineExecutionListener listener = new EngineExecutionListener() {
            @Override
            public void executionFinished(TestDescriptor test, TestExecutionResult result) {
                if (test.isTest()) {
                    results.put(test.getDisplayName(), result.getThrowable());
                }
            }
        };
        try (var above = new NamespacedHierarchicalStore<org.junit.platform.engine.support.store.Namespace>(null);
                var store = new NamespacedHierarchicalStore<>(above)) {
            engine.execute(ExecutionRequest.create(root, listener, NONE, NOWHERE, store));
        }
        return results;
    }

    private static EngineDiscoveryRequest request(Class<?> tests) {
        return new EngineDiscoveryRequest() {
            @Override
            public <T extends DiscoverySelector> List<T> getSelectorsByType(Class<T> type) {
                DiscoverySelector all = DiscoverySelectors.selectClass(tests);
                return type.isInstance(all) ? List.of(type.cast(all)) : List.of();
            }

            @Override
            public <T extends DiscoveryFilter<?>> List<T> getFiltersByType(Class<T> type) {
                return List.of();
            }

            @Override
            public ConfigurationParameters getConfigurationParameters() {
                return NONE;
            }

            @Override
            public OutputDirectoryCreator getOutputDirectoryCreator() {
                return NOWHERE;
            }
        };
    }
}
