package main

import (
	"fmt"
	"sync"
)

// limits counts the sessions, from the moment they are asked for. A limit of 0 is none.
type limits struct {
	total, perIP, perUser int
	capacity              int // sessions that the descriptors of this process allow

	mu    sync.Mutex
	count int
	ips   map[string]int
	users map[string]int
}

// verdicts of take
const (
	granted = iota
	refused // a limit that the administrator set
	full    // no descriptors left: the front end can do better itself
)

// take counts one more session of this user and address, unless a limit forbids it; why says which.
func (l *limits) take(ip, user string) (verdict int, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.total > 0 && l.count >= l.total:
		return refused, fmt.Sprintf("%d sessions in all", l.count)
	case l.perIP > 0 && l.ips[ip] >= l.perIP:
		return refused, fmt.Sprintf("%d sessions of this address", l.ips[ip])
	case l.perUser > 0 && l.users[user] >= l.perUser:
		return refused, fmt.Sprintf("%d sessions of this user", l.users[user])
	case l.capacity > 0 && l.count >= l.capacity:
		return full, fmt.Sprintf("%d sessions, no more descriptors", l.count)
	}
	l.add(ip, user)
	return granted, ""
}

// adopt counts a session that another relayd has passed on; limits were asked when it began.
func (l *limits) adopt(ip, user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.add(ip, user)
}

// add keeps the maps only for limits that are set: with ten thousand sessions they are memory.
func (l *limits) add(ip, user string) {
	l.count++
	if l.perIP > 0 {
		if l.ips == nil {
			l.ips = make(map[string]int)
		}
		l.ips[ip]++
	}
	if l.perUser > 0 {
		if l.users == nil {
			l.users = make(map[string]int)
		}
		l.users[user]++
	}
}

// give takes one session off.
func (l *limits) give(ip, user string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count--
	less(l.ips, ip)
	less(l.users, user)
}

func less(m map[string]int, key string) {
	if m[key] > 1 {
		m[key]--
	} else {
		delete(m, key)
	}
}

func (l *limits) now() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count
}
