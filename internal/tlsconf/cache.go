package tlsconf

import (
	"sync"
	"time"
)

// cache keeps the values that were used last.
type cache[K comparable, V any] struct {
	mu   *sync.Mutex
	most int
	all  map[K]*cached[V]
}

type cached[V any] struct {
	value V
	used  time.Time
}

func newCache[K comparable, V any](most int) cache[K, V] {
	return cache[K, V]{mu: &sync.Mutex{}, most: most, all: map[K]*cached[V]{}}
}

func (c *cache[K, V]) get(k K, now time.Time) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.all[k]
	if !ok {
		return v, false
	}
	e.used = now
	return e.value, true
}

func (c *cache[K, V]) put(k K, v V, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[k] = &cached[V]{v, now}
	if len(c.all) <= c.most {
		return
	}
	oldest := k
	for k, e := range c.all {
		if e.used.Before(c.all[oldest].used) {
			oldest = k
		}
	}
	delete(c.all, oldest)
}

// forget drops what was used last before a time.
func (c *cache[K, V]) forget(before time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.all {
		if e.used.Before(before) {
			delete(c.all, k)
		}
	}
}
