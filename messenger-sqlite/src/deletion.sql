-- Version 5. By what a user is looked for when deleted.

CREATE INDEX contacts_by_contact ON contacts (contact);
CREATE INDEX myids_by_user ON myids (user);
