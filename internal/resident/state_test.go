package resident

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"mailproxy/internal/successor"
	"mailproxy/relay/handoff"
)

// bytesMemory is a memory whose text it is.
type bytesMemory struct {
	text    []byte
	failure error
}

func (m *bytesMemory) MarshalBinary() ([]byte, error) { return m.text, m.failure }

func (m *bytesMemory) UnmarshalBinary(text []byte) error {
	m.text = bytes.Clone(text)
	return m.failure
}

// names are one memory by the name "one", and others by theirs.
func names(one *bytesMemory, more ...any) map[string]inherited {
	all := map[string]inherited{"one": one}
	for i := 0; i < len(more); i += 2 {
		all[more[i].(string)] = more[i+1].(*bytesMemory)
	}
	return all
}

// What a process has learned arrives, however much it is; and without a memory nothing does.
func TestTell(t *testing.T) {
	for _, size := range []int{0, 1, stateChunk, 5*stateChunk + 7, 4 << 20} {
		ours, theirs, err := successor.Pair()
		if err != nil {
			t.Fatal(err)
		}
		received := receiveState(theirs)
		text := bytes.Repeat([]byte("0123456\n"), size/8+1)[:size]
		some := &bytesMemory{text: []byte("some")}
		if err := sendState(t.Context(), ours, names(&bytesMemory{text: text}, "some", some)); err != nil {
			t.Fatal(err)
		}
		got, unknown := &bytesMemory{}, &bytesMemory{}
		if err := restoreState(names(got, "new", unknown), <-received); err != nil || !bytes.Equal(got.text, text) {
			t.Errorf("%d bytes: %d arrived, %v", size, len(got.text), err)
		}
		if len(unknown.text) > 0 {
			t.Errorf("what nobody has told is %q", unknown.text)
		}
		received = receiveState(theirs)
		if err := sendState(t.Context(), ours, nil); err != nil {
			t.Fatal(err)
		}
		if err := restoreState(nil, <-received); err != nil {
			t.Error(err)
		}
		ours.Close()
		theirs.Close()
	}
}

// Who tells does not wait for ever for one that does not listen, and not beyond a signal.
func TestTellNobody(t *testing.T) {
	ours, theirs, err := successor.Pair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := sendState(ctx, ours, names(&bytesMemory{text: make([]byte, 4<<20)})); err == nil {
		t.Error("all is told, and nobody listens")
	}
	broken := errors.New("broken")
	if err := sendState(t.Context(), ours, names(&bytesMemory{failure: broken})); !errors.Is(err, broken) {
		t.Error(err)
	}
}

// Whatever else is said is not learned.
func TestHearNonsense(t *testing.T) {
	for name, say := range map[string]*handoff.Message{
		"another verb": {Verb: "CARRY"}, "the end of the connection": nil,
	} {
		ours, theirs, err := successor.Pair()
		if err != nil {
			t.Fatal(err)
		}
		received := receiveState(theirs)
		if say != nil {
			err = handoff.Send(ours, say)
		}
		ours.Close()
		if learned := restoreState(names(&bytesMemory{}), <-received); err != nil || learned == nil {
			t.Errorf("%s: %v, %v", name, err, learned)
		}
		theirs.Close()
	}
	if restoreState(names(&bytesMemory{failure: errors.New("broken")}),
		receivedState{all: map[string][]byte{"one": nil}}) == nil {
		t.Error("what cannot be read is no error")
	}
}
