package frontend

// logTLSFailed writes the one line about a handshake with the client that failed; the session ends with it.
func (s *Session) logTLSFailed(err error) {
	s.Log.Infof("TLS FAILED, ip=[%s], port=[%s]: %v", s.Peer.RemoteIP, s.Peer.RemotePort, err)
}

// logNoCertificate says why STARTTLS is not offered although it is switched on.
func (s *Session) logNoCertificate(err error) {
	s.Log.Errf("%s is not offered: %v", s.startTLSName(), err)
}

func (s *Session) startTLSName() string {
	if s.Protocol.Name == "POP3" {
		return "STLS"
	}
	return "STARTTLS"
}
