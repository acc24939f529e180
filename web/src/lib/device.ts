/** The device's own store (IndexedDB): the last warning, the link's token and answers that wait. Shared with the service worker. */

import type { Store, Waiting } from "./outbox";

const NAME = "tocsin";

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("kept");
      request.result.createObjectStore("outbox", { keyPath: "key" });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

async function run<T>(table: string, mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await open();
  try {
    return await new Promise<T>((resolve, reject) => {
      const transaction = database.transaction(table, mode);
      const request = act(transaction.objectStore(table));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = transaction.onerror = () => reject(transaction.error ?? request.error);
    });
  } finally {
    database.close();
  }
}

/** A small value by name; none where there is none or where the browser keeps nothing (private windows). */
export async function kept<T>(name: string): Promise<T | null> {
  try {
    return ((await run("kept", "readonly", (store) => store.get(name))) as T | undefined) ?? null;
  } catch {
    return null;
  }
}

/** Keeps a small value; false where the browser keeps nothing: the page works without it, only not offline. */
export async function keep(name: string, value: unknown): Promise<boolean> {
  try {
    await run("kept", "readwrite", (store) => store.put(value, name));
    return true;
  } catch {
    return false;
  }
}

/** Answers that wait. Unlike `keep`, a failure to store is told: the person must not believe that it is safe with us. */
export function outboxStore<Body>(): Store<Body> {
  return {
    all: () => run("outbox", "readonly", (store) => store.getAll()) as Promise<Waiting<Body>[]>,
    put: async (item) => {
      await run("outbox", "readwrite", (store) => store.put(item));
    },
    remove: async (key) => {
      await run("outbox", "readwrite", (store) => store.delete(key));
    },
  };
}
