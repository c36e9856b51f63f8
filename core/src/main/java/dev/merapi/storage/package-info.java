// SPDX-License-Identifier: Apache-2.0
/**
 * Memory: raw segments, the caching allocator over them, counted storages, protection of storages during calls and the
 * backstop for those that nobody closes. Depends on {@code types} and {@code error}. Read {@link dev.merapi.storage.Storage}
 * first, then {@link dev.merapi.storage.Protection}.
 */
@NullMarked
package dev.merapi.storage;

import org.jspecify.annotations.NullMarked;
