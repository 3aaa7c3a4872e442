import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Plus, Users } from "lucide-react";
import { type FormEvent, useState } from "react";
import { patch, post, remove } from "../api/client";
import { useMay } from "../api/me";
import { membersQuery, meQuery } from "../api/queries";
import { type Member, ROLES, type Role } from "../api/types";
import { ago } from "../lib/format";
import { useNow } from "../lib/now";
import { useTitle } from "../lib/title";
import { Confirm, Dialog } from "../ui/Dialog";
import { Empty, ProblemNotice, SkeletonRows } from "../ui/Feedback";

const ROLE_WORDS: Record<Role, string> = {
  owner: "everything, and makes owners",
  admin: "everything but owners",
  developer: "makes crews and what they need",
  operator: "starts, cancels and answers runs",
  viewer: "looks, changes nothing",
};

export default function Members() {
  useTitle("Members");
  const members = useQuery(membersQuery);
  const [adding, setAdding] = useState(false);
  const may = useMay();
  return (
    <div className="stack members">
      <div className="page-head" style={{ marginBottom: 8 }}>
        <div className="titles">
          <h1>Members</h1>
          <p>People and programs of your organisation, and what each may do.</p>
        </div>
        {may("users.write") && (
          <button type="button" className="button primary" onClick={() => setAdding(true)}>
            <Plus size={16} aria-hidden /> Add a member
          </button>
        )}
      </div>
      <ProblemNotice error={members.error} retry={() => void members.refetch()} />
      {members.isPending && !members.error ? <SkeletonRows /> : null}
      {members.data?.length === 0 && (
        <div className="card">
          <Empty icon={Users} title="Nobody is here">
            <p>Add the first member.</p>
          </Empty>
        </div>
      )}
      {members.data && members.data.length > 0 && (
        <div className="card table-wrap" tabIndex={0}>
          <table className="table">
            <caption className="hidden">Members</caption>
            <thead>
              <tr>
                <th scope="col">Member</th>
                <th scope="col">Role</th>
                <th scope="col">Last sign-in</th>
                <th scope="col">
                  <span className="hidden">Actions</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {members.data.map((member) => (
                <MemberRow key={member.id} member={member} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {adding && <Add onClose={() => setAdding(false)} />}
    </div>
  );
}

function MemberRow({ member }: { member: Member }) {
  const { data: me } = useQuery(meQuery);
  const may = useMay();
  const now = useNow(30_000);
  const client = useQueryClient();
  const [asking, setAsking] = useState(false);
  const [editing, setEditing] = useState(false);
  const onSuccess = () => client.invalidateQueries({ queryKey: membersQuery.queryKey });
  const change = useMutation({
    mutationFn: (changed: object) => patch(`/v1/users/${member.id}`, changed),
    onSuccess,
  });
  const deletion = useMutation({
    mutationFn: () => remove(`/v1/users/${member.id}`),
    onSuccess,
    onSettled: () => setAsking(false),
  });
  const mine = me?.user.id === member.id;
  const editable = may("users.write") && !mine && (member.role !== "owner" || may("owners.write"));
  return (
    <tr>
      <td>
        <strong style={{ fontWeight: 550 }}>{member.name || member.email}</strong>{" "}
        {member.name && <span className="muted small">{member.email}</span>}{" "}
        {mine && <span className="tag">you</span>}{" "}
        {member.service_account && <span className="tag">program</span>}{" "}
        {member.disabled_at && <span className="tag tone-warn">disabled</span>}
        <ProblemNotice error={change.error ?? deletion.error} />
      </td>
      <td>
        {editable ? (
          <select
            className="input roles"
            aria-label={`Role of ${member.email}`}
            value={member.role}
            disabled={change.isPending}
            onChange={(event) => change.mutate({ role: event.target.value })}
          >
            {ROLES.filter((role) => role !== "owner" || may("owners.write")).map((role) => (
              <option key={role}>{role}</option>
            ))}
          </select>
        ) : (
          member.role
        )}
      </td>
      <td>
        {member.service_account ? (
          <span className="muted">by keys only</span>
        ) : (
          ago(member.last_sign_in_at, now)
        )}
      </td>
      <td className="right">
        {editable && (
          <div className="actions" style={{ justifyContent: "end" }}>
            <button
              type="button"
              className="button"
              onClick={() => setEditing(true)}
              aria-label={`Edit ${member.email}`}
            >
              Edit
            </button>
            <button
              type="button"
              className="button"
              disabled={change.isPending}
              onClick={() => change.mutate({ disabled: !member.disabled_at })}
            >
              {member.disabled_at ? "Enable" : "Disable"}
            </button>
            <button
              type="button"
              className="button danger"
              onClick={() => setAsking(true)}
              aria-label={`Delete ${member.email}`}
            >
              Delete
            </button>
          </div>
        )}
        {editing && <Edit member={member} onClose={() => setEditing(false)} />}
        {asking && (
          <Confirm
            title={`Delete ${member.email}?`}
            action="Delete the member"
            busy={deletion.isPending}
            onClose={() => setAsking(false)}
            onConfirm={() => deletion.mutate()}
          >
            <p>Their keys and sign-ins end. Their runs stay.</p>
          </Confirm>
        )}
      </td>
    </tr>
  );
}

function Edit({ member, onClose }: { member: Member; onClose: () => void }) {
  const client = useQueryClient();
  const editing = useMutation({
    mutationFn: (changed: object) => patch(`/v1/users/${member.id}`, changed),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: membersQuery.queryKey });
      onClose();
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const password = String(form.get("password") ?? "");
    editing.mutate({ name: form.get("name"), ...(password ? { password } : {}) });
  };
  return (
    <Dialog title={`Edit ${member.email}`} onClose={onClose}>
      <form className="form" onSubmit={submit}>
        <div className="field">
          <label htmlFor="edited-name">Name</label>
          <input
            id="edited-name"
            name="name"
            className="input"
            maxLength={100}
            defaultValue={member.name}
          />
        </div>
        {!member.service_account && (
          <div className="field">
            <label htmlFor="edited-password">New password</label>
            <input
              id="edited-password"
              name="password"
              type="password"
              className="input"
              minLength={12}
              autoComplete="new-password"
            />
            <p className="help">
              12 characters or more; nothing leaves theirs as it is. A new one ends their sign-ins.
            </p>
          </div>
        )}
        <ProblemNotice error={editing.error} />
        <div className="actions" style={{ justifyContent: "end" }}>
          <button type="submit" className="button primary" disabled={editing.isPending}>
            Save
          </button>
        </div>
      </form>
    </Dialog>
  );
}

function Add({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const may = useMay();
  const [program, setProgram] = useState(false);
  const adding = useMutation({
    mutationFn: (member: object) => post<Member>("/v1/users", member),
    onSuccess: async () => {
      await client.invalidateQueries({ queryKey: membersQuery.queryKey });
      onClose();
    },
  });
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const password = String(form.get("password") ?? "");
    adding.mutate({
      email: form.get("email"),
      name: form.get("name"),
      role: form.get("role"),
      service_account: program,
      ...(password ? { password } : {}),
    });
  };
  return (
    <Dialog title="Add a member" onClose={onClose}>
      <form className="form" onSubmit={submit}>
        <div className="segments" role="group" aria-label="What it is">
          <button type="button" aria-pressed={!program} onClick={() => setProgram(false)}>
            A person
          </button>
          <button type="button" aria-pressed={program} onClick={() => setProgram(true)}>
            A program
          </button>
        </div>
        <div className="field">
          <label htmlFor="member-email">E-mail address</label>
          <input
            id="member-email"
            name="email"
            type="email"
            className="input"
            required
            maxLength={255}
          />
        </div>
        <div className="field">
          <label htmlFor="member-name">Name</label>
          <input id="member-name" name="name" className="input" maxLength={100} />
        </div>
        <div className="field">
          <label htmlFor="member-role">Role</label>
          <select id="member-role" name="role" className="input" defaultValue="developer">
            {ROLES.filter((role) => role !== "owner" || may("owners.write")).map((role) => (
              <option key={role} value={role}>
                {role}: {ROLE_WORDS[role]}
              </option>
            ))}
          </select>
        </div>
        {!program && (
          <div className="field">
            <label htmlFor="member-password">First password</label>
            <input
              id="member-password"
              name="password"
              type="password"
              className="input"
              minLength={12}
              autoComplete="new-password"
            />
            <p className="help">
              12 characters or more. Tell it to them; they can change it under API keys.
            </p>
          </div>
        )}
        <ProblemNotice error={adding.error} />
        <div className="actions" style={{ justifyContent: "end" }}>
          <button type="submit" className="button primary" disabled={adding.isPending}>
            Add
          </button>
        </div>
      </form>
    </Dialog>
  );
}
