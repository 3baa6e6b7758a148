package sasl

import "fmt"

// external is RFC 4422 appendix A: the connection has proved who the client is, the client only names whom it
// wants to act for, which here can be nobody but itself.
type external struct {
	learned
	identity string
}

func newExternal(_ string, o Options) (exchange, error) {
	if o.External == "" {
		return nil, ErrUnknownMechanism
	}
	return &external{identity: o.External}, nil
}

func (e *external) Next(response []byte) ([]byte, bool, error) {
	if response == nil {
		return []byte{}, false, nil
	}
	if len(response) > 0 && string(response) != e.identity {
		return nil, false, fmt.Errorf("%w: authorization identity differs from the certificate's", ErrMalformed)
	}
	if err := Check(e.identity, ""); err != nil {
		return nil, false, err
	}
	e.cred = Credentials{Mechanism: "EXTERNAL", User: e.identity, External: true}
	return nil, true, nil
}
