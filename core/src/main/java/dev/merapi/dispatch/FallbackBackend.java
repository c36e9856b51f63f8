// SPDX-License-Identifier: Apache-2.0
package dev.merapi.dispatch;

import dev.merapi.backend.Backend;

/**
 * The backend that always works: it serves the CPU where nothing better does, and its kernels serve every device whose
 * memory Java sees where the device's own backend has none. A service of its own, which only the engine provides: a file
 * of {@code META-INF/services} that several jars have, as that of {@link Backend}, is easily lost when they are put
 * together in one.
 */
public interface FallbackBackend extends Backend {}
